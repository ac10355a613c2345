"""Theory: what follows from the assumptions of ANIL's convergence analysis (Ji et al. 2020, arXiv:2006.09486), as code.

Read in this order:

    landscape.py    the constants that the analysis assumes, measured on real tasks: curvatures, Lipschitz constants
                    (with lanczos.py, linear_curvature.py, head_path.py, task_derivatives.py and flat.py)
    bounds.py       what follows from them: contraction, meta-gradient, smoothness, outer step sizes and their rate
    complexity.py   what a meta-step costs in gradients, second-order products and passes of the body, counted
    advice.py       which inner step size and how many steps the measured landscape suggests

It takes tensors, loss functions and numbers, and knows nothing of data sets, training or files.
"""
